"""The store: write-once files, snapshots, commit and verification."""
