"""A stranger's schema of nothing: for runs that are about the files alone."""

from foundry.declare import Schema

SCHEMA = Schema(models=())
