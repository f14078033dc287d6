#!/usr/bin/env bash
# Verifies the signature of a webhook (Standard Webhooks 1.0.0), with openssl 3.
#
#     WEBHOOK_KEYS="whsec_… whpk_…" bash verify.sh < body
#
# It takes one request as CGI has it: the headers in HTTP_WEBHOOK_ID, HTTP_WEBHOOK_TIMESTAMP and
# HTTP_WEBHOOK_SIGNATURE, the body on standard input. It exits with 0 if the request is genuine.
set -euo pipefail

tolerance=300 # seconds
most_bytes=1000000
id=${HTTP_WEBHOOK_ID:-} sent_at=${HTTP_WEBHOOK_TIMESTAMP:-}
read -ra signatures <<<"${HTTP_WEBHOOK_SIGNATURE:-}"
read -ra keys <<<"$WEBHOOK_KEYS" # several while one is rotated

for program in openssl od; do
    command -v "$program" >/dev/null || { echo "needs $program" >&2 && exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The key of a secret, each byte combined with a number, filled up to the 64 bytes of a block.
pad() {
    local number=$1 bytes escaped
    read -ra bytes <<<"$(od -An -v -tu1 "$work/key" | tr '\n' ' ')"
    for ((at = 0; at < 64; at++)); do
        printf -v escaped '\\x%02x' $((${bytes[at]:-0} ^ number))
        printf '%b' "$escaped"
    done
}

# HMAC-SHA256 (RFC 2104). `openssl dgst -macopt` would show the secret to everybody who runs `ps`.
hmac() {
    { pad 54 && cat "$work/signed"; } | openssl dgst -sha256 -binary >"$work/inner"
    { pad 92 && cat "$work/inner"; } | openssl dgst -sha256 -binary | openssl base64 -A
}

# Compares two texts by digests that nobody can foresee, so how long it takes tells nothing.
same() {
    local salt first second
    salt=$(openssl rand -hex 32)
    first=$(openssl dgst -sha256 <<<"$salt $1")
    second=$(openssl dgst -sha256 <<<"$salt $2")
    [[ $first && $first == "$second" ]]
}

fits() {
    local key=$1 signature=$2 size
    openssl base64 -d -A <<<"${key#*_}" >"$work/key"
    size=$(($(wc -c <"$work/key")))
    case $key,$signature in
    whsec_*,v1,*)
        ((size >= 24)) && same "v1,$(hmac)" "$signature"
        ;;
    whpk_*,v1a,*)
        # What stands before an ed25519 key in DER (RFC 8410).
        printf '\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00' >"$work/public"
        cat "$work/key" >>"$work/public"
        openssl base64 -d -A <<<"${signature#v1a,}" >"$work/signature"
        openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/public" -rawin \
            -in "$work/signed" -sigfile "$work/signature" &>/dev/null
        ;;
    *)
        false
        ;;
    esac
}

[[ $id && $sent_at =~ ^[0-9]{1,12}$ ]] || exit 1
age=$(($(date +%s) - 10#$sent_at))
((age <= tolerance && age >= -tolerance)) || exit 1 # sent again by somebody who has overheard it
{ printf '%s.%s.' "$id" "$sent_at" && head -c "$most_bytes"; } >"$work/signed"
for key in "${keys[@]}"; do
    for signature in "${signatures[@]}"; do
        if fits "$key" "$signature"; then exit 0; fi
    done
done
exit 1
