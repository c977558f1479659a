"""How a subgraph becomes a picture: text is measured, networkx finds the positions, and shapes are written as SVG."""
