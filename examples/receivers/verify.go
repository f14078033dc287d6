// Verifies the signature of a webhook (Standard Webhooks 1.0.0), with the standard library alone.
//
//	WEBHOOK_KEYS="whsec_… whpk_…" go run verify.go < body
//
// The program takes one request as CGI has it: the headers in HTTP_WEBHOOK_ID, HTTP_WEBHOOK_TIMESTAMP
// and HTTP_WEBHOOK_SIGNATURE, the body on standard input. It exits with 0 if the request is genuine.
package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

const tolerance = 300 // seconds
const mostBytes = 1_000_000

// isGenuine tells whether one of the keys has signed the body, and just now. In a handler of net/http
// header is r.Header.Get, and body what io.ReadAll(http.MaxBytesReader(w, r.Body, mostBytes)) returns.
func isGenuine(header func(string) string, body []byte, keys []key, now time.Time) bool {
	id, sentAt := header("webhook-id"), header("webhook-timestamp")
	seconds, err := strconv.ParseUint(sentAt, 10, 40)
	if id == "" || err != nil {
		return false
	}
	if age := now.Unix() - int64(seconds); age > tolerance || age < -tolerance {
		return false // sent again by somebody who has overheard it
	}
	signed := append([]byte(id+"."+sentAt+"."), body...)
	for _, signature := range strings.Split(header("webhook-signature"), " ") {
		for _, key := range keys { // several while one is rotated
			if fits(key, signature, signed) {
				return true
			}
		}
	}
	return false
}

func fits(key key, signature string, signed []byte) bool {
	version, value, _ := strings.Cut(signature, ",")
	given, err := base64.StdEncoding.DecodeString(value)
	switch {
	case err != nil:
		return false
	case key.scheme == "whsec" && version == "v1":
		expected := hmac.New(sha256.New, key.raw)
		expected.Write(signed)
		return hmac.Equal(given, expected.Sum(nil)) // in constant time
	case key.scheme == "whpk" && version == "v1a":
		return ed25519.Verify(key.raw, signed, given)
	}
	return false
}

type key struct {
	scheme string
	raw    []byte
}

func parsed(text string) key {
	scheme, encoded, _ := strings.Cut(text, "_")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	isWhole := scheme == "whsec" && len(raw) >= 24 || scheme == "whpk" && len(raw) == ed25519.PublicKeySize
	if err != nil || !isWhole {
		panic("WEBHOOK_KEYS: expected whsec_… or whpk_…, whole")
	}
	return key{scheme, raw}
}

func main() {
	header := func(name string) string {
		return os.Getenv("HTTP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	var keys []key
	for _, text := range strings.Fields(os.Getenv("WEBHOOK_KEYS")) {
		keys = append(keys, parsed(text))
	}
	body, err := io.ReadAll(io.LimitReader(os.Stdin, mostBytes))
	if err != nil || !isGenuine(header, body, keys, time.Now()) {
		os.Exit(1)
	}
}
