"""Small applications to read and to run: `sled-sessions example NAME`."""
