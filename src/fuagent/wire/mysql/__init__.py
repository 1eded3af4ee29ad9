"""The replication protocol of MySQL and MariaDB: bytes in, values out."""
