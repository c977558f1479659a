"""Serving memories: the HTTP application, its operations, and Ray Serve around it."""
