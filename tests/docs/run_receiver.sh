export SERVICE_KEY=$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')
fuagent receive --database sqlite:///copy.db --deletes --sweep
