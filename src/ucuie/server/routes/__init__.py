"""The addresses of the API, one module for each kind; each adds its own to an application."""
