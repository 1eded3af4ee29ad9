"""The demonstration: a shop's database, two services that receive it, and the comparison of both ends."""
