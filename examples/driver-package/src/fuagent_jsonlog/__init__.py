"""Two drivers for fuagent: a source over a journal of JSON lines, and a pusher that appends to a file."""
