"""A local page and an interface for programs that answer where a photo was taken."""
