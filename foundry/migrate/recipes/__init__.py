"""Which statements make, change and remove an object, one family of objects a module.

A recipe takes a change and the move it is part of, and yields steps with the phase they
belong to; the planner sorts them.
"""
