"""A notes application: accounts, notes, tags. It knows Peewee, and nothing of foundry."""
