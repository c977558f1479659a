"""Checks of tables beyond their checksums, for `verify`: ids of other tables, and what rows are made of."""
