"""The demo: memories of the Python manual that ships inside every interpreter, and questions to their indexes."""
