# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by package.sh: with what it signs, signing, and checking what was signed.

# A certificate of the caller's is named by variables; docs/packaging.md explains them.
pfx=${WNBD_SIGN_PFX:-}
certificate=${WNBD_SIGN_CERT:-}
key=${WNBD_SIGN_KEY:-}
chain=${WNBD_SIGN_CHAIN:-}
password=${WNBD_SIGN_PASSWORD:-}
password_file=${WNBD_SIGN_PASSWORD_FILE:-}
timestamp_url=${WNBD_TIMESTAMP_URL:-}

# The test key is made once and kept, so that a machine that trusts its certificate goes on doing so.
test_key=build/signing/test-key.pem
test_certificate=build/signing/test-certificate.pem

signing_failed() {
    echo "run package: $*" >&2
    exit 1
}

make_test_certificate() {
    [ -e "$test_key" ] && [ -e "$test_certificate" ] && return
    say "making a test signing key: $test_key"
    mkdir -p build/signing
    (umask 077 && openssl req -x509 -newkey rsa:3072 -nodes -sha256 -days 3650 -config /dev/stdin \
        -keyout "$test_key" -out "$test_certificate" 2>build/signing/log <<'TEXT') ||
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = WNBD test signing
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, codeSigning
subjectKeyIdentifier = hash
TEXT
        signing_failed "no test key: $(cat build/signing/log)"
}

# Fills `signer` (osslsigncode's options) and the file `trusted` (what a check trusts).
choose_signer() {
    trusted=build/signing/trusted.pem
    mkdir -p build/signing
    if [ -n "$password" ]; then
        # Not as an argument, which every process may read.
        password_file=$(mktemp)
        trap 'rm -f "$password_file"' EXIT
        printf '%s' "$password" >"$password_file"
    fi
    local file
    for file in "$pfx" "$certificate" "$key" "$chain" "$password_file"; do
        [ -z "$file" ] || [ -r "$file" ] || signing_failed "cannot read $file"
    done
    if [ -n "$pfx" ]; then
        [ -z "$certificate$key" ] ||
            signing_failed "give WNBD_SIGN_PFX, or WNBD_SIGN_CERT and WNBD_SIGN_KEY, not both"
        signer=(-pkcs12 "$pfx")
        openssl pkcs12 -in "$pfx" -nokeys -passin "file:${password_file:-/dev/null}" -out "$trusted" \
            2>build/signing/log || signing_failed "cannot open $pfx: is the password right?"
    elif [ -n "$certificate$key" ]; then
        [ -n "$certificate" ] && [ -n "$key" ] ||
            signing_failed "WNBD_SIGN_CERT and WNBD_SIGN_KEY belong together"
        signer=(-certs "$certificate" -key "$key")
        cat "$certificate" >"$trusted"
    else
        make_test_certificate
        signer=(-certs "$test_certificate" -key "$test_key")
        cat "$test_certificate" >"$trusted"
        password_file=
    fi
    if [ -n "$password_file" ]; then signer+=(-readpass "$password_file"); fi
    if [ -n "$chain" ]; then
        signer+=(-ac "$chain")
        cat "$chain" >>"$trusted"
    fi
    if [ -n "$timestamp_url" ]; then signer+=(-ts "$timestamp_url"); fi
    # The signing time is the present unless the output is to be the same each time.
    if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then signer+=(-time "$SOURCE_DATE_EPOCH"); fi
}

uses_test_key() { [ -z "$pfx$certificate" ]; }

# sign <file>...: in place.
sign() {
    local file
    for file in "$@"; do
        rm -f "$file.signed"
        osslsigncode sign -h sha256 -n WNBD "${signer[@]}" -in "$file" -out "$file.signed" \
            >build/signing/log 2>&1 ||
            signing_failed "cannot sign $(basename "$file"): $(grep -v '^$' build/signing/log | head -n 3)"
        mv "$file.signed" "$file"
    done
}

# verify <file> [catalogue]: the signature in the file, or the catalogue's that lists it.
verify() {
    local options=(-CAfile "$trusted" -in "$1")
    [ $# -lt 2 ] || options+=(-catalog "$2")
    [ -z "$timestamp_url" ] || options+=(-ignore-timestamp)
    osslsigncode verify "${options[@]}" >build/signing/log 2>&1 ||
        signing_failed "the signature of $(basename "$1") does not verify: $(tail -n 3 build/signing/log)"
}

# Whether the chain ends here: only then can a check succeed.
has_root() {
    openssl storeutl -noout -text -certs "$trusted" 2>/dev/null |
        awk '/Issuer:/ { sub(/.*Issuer: */, ""); issuer = $0 }
             /Subject:/ { sub(/.*Subject: */, ""); if ($0 == issuer) found = 1 }
             END { exit !found }'
}
