#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# make_certificates.sh FOLDER: what the tests of TLS need, in the layout of libnbd, nbdkit and qemu.
#   FOLDER           a CA; a server for localhost, 127.0.0.1 and ::1; a client; psk with alice and bob
#   FOLDER/other     another CA, with a client of its own under the first one's name
#   FOLDER/expired   FOLDER's CA, a server whose certificate is over
#   FOLDER/future    FOLDER's CA, a server whose certificate begins in 2090
#   FOLDER/elsewhere FOLDER's CA, a server for elsewhere.example only
#   FOLDER/far       FOLDER's CA, a server for another address, which has ours as a DNS name
#   FOLDER/misused   FOLDER's CA, a server whose certificate is for clients only
#   FOLDER/forged    a server whose certificate names FOLDER's CA, signed by another key
#   FOLDER/impostor  a CA that looks like FOLDER's, and a server of it that sends it along
#   FOLDER/revoked   FOLDER's CA and its revocation of FOLDER's server
#   FOLDER/meddling  FOLDER's CA and the other one's revocation of FOLDER's server
#   FOLDER/lonely    FOLDER's CA alone: no client certificate
#   FOLDER/pfx       FOLDER's CA, the client as PFX without a password
#   FOLDER/curve     a CA, a server and a client, all with keys on elliptic curves
#   FOLDER/curve-lonely  its CA alone
set -eu
ca_key=
cd "$1"
mkdir -p other expired future elsewhere far misused forged impostor revoked meddling lonely pfx curve curve-lonely

key() { certtool --generate-privkey --key-type=rsa --bits=2048 --no-text --outfile "$1" 2>/dev/null; }
curve_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# sign FOLDER NAME TEMPLATE-LINES: FOLDER/NAME-cert.pem over NAME-key.pem, by the CA in $ca; with $ca_key, if set.
sign() {
    printf '%s\n' "$3" >"$1/template"
    certtool --generate-certificate --no-text --template "$1/template" \
        --load-privkey "$1/$2-key.pem" --load-ca-certificate "$ca/ca-cert.pem" \
        --load-ca-privkey "${ca_key:-$ca/ca-key.pem}" --outfile "$1/$2-cert.pem" 2>/dev/null
    rm "$1/template"
}
self_sign() {
    printf 'cn = "%s"\nserial = 1\nca\ncert_signing_key\ncrl_signing_key\nexpiration_days = 3650\n' "$2" >"$1/template"
    certtool --generate-self-signed --no-text --template "$1/template" \
        --load-privkey "$1/ca-key.pem" --outfile "$1/ca-cert.pem" 2>/dev/null
    rm "$1/template"
}
server_use='tls_www_server
signing_key
encryption_key'
client_use='cn = "a client"
tls_www_client
signing_key
expiration_days = 3650'
local_names='cn = "a server"
dns_name = "localhost"
ip_address = "127.0.0.1"
ip_address = "::1"'

key ca-key.pem
self_sign . "the tests' authority"
key other/ca-key.pem
self_sign other "another authority"
key server-key.pem
key client-key.pem
cp client-key.pem other/

ca=.
sign . server "$local_names
$server_use
expiration_days = 3650"
sign . client "$client_use"
ca=other
sign other client "$client_use"
ca=.

for folder in expired future elsewhere far misused forged revoked meddling lonely pfx; do cp ca-cert.pem $folder/; done
for folder in expired future elsewhere far misused forged impostor; do cp server-key.pem $folder/; done
sign expired server "$local_names
$server_use
activation_date = \"2020-01-01 00:00:00 UTC\"
expiration_date = \"2021-01-01 00:00:00 UTC\""
sign future server "$local_names
$server_use
activation_date = \"2090-01-01 00:00:00 UTC\"
expiration_date = \"2091-01-01 00:00:00 UTC\""
sign elsewhere server "cn = \"elsewhere.example\"
dns_name = \"elsewhere.example\"
$server_use
expiration_days = 3650"

sign far server "cn = \"127.0.0.1\"
dns_name = \"127.0.0.1\"
ip_address = \"127.0.0.2\"
$server_use
expiration_days = 3650"
sign misused server "$local_names
tls_www_client
signing_key
encryption_key
expiration_days = 3650"
ca_key=other/ca-key.pem
sign forged server "$local_names
$server_use
expiration_days = 3650"
ca_key=

key impostor/ca-key.pem
self_sign impostor "the tests' authority"
ca=impostor
sign impostor server "$local_names
$server_use
expiration_days = 3650"
cat impostor/ca-cert.pem >>impostor/server-cert.pem
ca=.

curve_key curve/ca-key.pem
self_sign curve "an authority on a curve"
curve_key curve/server-key.pem
curve_key curve/client-key.pem
ca=curve
sign curve server "$local_names
$server_use
expiration_days = 3650"
sign curve client "$client_use"
cp curve/ca-cert.pem curve-lonely/

# revoke FOLDER: FOLDER/ca-crl.pem, in which the CA in $ca revokes the number of FOLDER's server.
revoke() {
    printf 'crl_next_update = 3650\ncrl_number = 1\n' >"$1/template"
    certtool --generate-crl --no-text --template "$1/template" --load-ca-certificate "$ca/ca-cert.pem" \
        --load-ca-privkey "$ca/ca-key.pem" --load-certificate server-cert.pem \
        --outfile "$1/ca-crl.pem" 2>/dev/null
    rm "$1/template"
}
ca=.
revoke revoked
ca=other
revoke meddling

openssl pkcs12 -export -passout pass: -in client-cert.pem -inkey client-key.pem -certfile ca-cert.pem \
    -out pfx/client.pfx
printf 'alice:%s\nbob:%s\n' 0123456789abcdef0123456789abcdef fedcba9876543210fedcba9876543210 >psk
