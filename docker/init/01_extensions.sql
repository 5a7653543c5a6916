-- The migrations do the same; here it is done once by the superuser, so that a role
-- without the right to create extensions can apply them later.
CREATE EXTENSION IF NOT EXISTS vector;
