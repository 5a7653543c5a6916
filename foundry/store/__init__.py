"""What an application does with conversations and protocols, at the speed of the wire.

Every function takes the database first, joins a transaction that is open on this thread, and
refuses a value that would not come back as it was with InvalidValue, before any SQL.
"""
