"""How a subgraph becomes a picture: text is measured, boxes are laid out, shapes are composed and then written."""
