"""PostgreSQL on the wire: messages of pgoutput, rows of them and of COPY, and what the text of each type means."""
