#!/usr/bin/env bash
# Makes the secrets of compose.yaml, where there are none yet. Nobody else gets into their folder;
# the files themselves are readable, because the users inside the containers are not you.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p -m 0700 secrets
for name in shop_password service_key; do
    [ -e secrets/$name ] || python3 -c 'import secrets; print(secrets.token_urlsafe(32))' >secrets/$name
    chmod 0444 secrets/$name
done
