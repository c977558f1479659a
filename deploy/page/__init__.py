"""The page that people ask memories with: files for browsers, and their routes."""
