"""MySQL and MariaDB: snapshot and binlog."""

from fuagent.sources.mysql.source import MySQL as MySQL
