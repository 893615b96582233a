"""An analysis shown: for people, for machines, as a picture."""
