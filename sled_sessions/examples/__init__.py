"""Small applications to read and to run with `sled-sessions example NAME`."""
