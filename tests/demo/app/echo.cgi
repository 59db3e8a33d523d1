#!/bin/sh
# The demo's sample app: says what it sees of the request.
printf 'Content-Type: text/plain; charset=utf-8\r\n\r\n'
printf '%s %s\n' "$REQUEST_METHOD" "$REQUEST_URI"
env | grep '^HTTP_' | sort
if [ "${CONTENT_LENGTH:-0}" -gt 0 ]; then
	printf '\n%s bytes of body:\n' "$CONTENT_LENGTH"
	cat
	echo
fi
