"""A laboratory: namespaces with a Docker-like host, real traffic, recordings as plain tools make
them, kernel truth."""
