"""A web service for conversations: FastAPI, and foundry's tables and functions."""
