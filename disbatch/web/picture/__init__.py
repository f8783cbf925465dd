"""What the page shows, computed once for all who look. Pure: no clock, no files, no sockets; every list is bounded."""
