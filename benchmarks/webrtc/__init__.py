"""What calls by WebRTC cost and how long they take; everything goes by the loopback address."""
