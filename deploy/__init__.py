"""Deployment: what runs Mnemodex as a service and on clusters."""
