"""What is stored: table schemas, the recipe, the manifest, the store and its errors."""
