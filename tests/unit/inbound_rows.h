/* tests/unit/inbound_rows.h - One policy, two adapters: the fields that a caller sends, and those
 * that the app receives, for a request as CGI variables (fcgi/test_request.c) and for a handshake
 * (broker/test_ws_request.c). */
#ifndef PIPEGATE_UNIT_INBOUND_ROWS_H
#define PIPEGATE_UNIT_INBOUND_ROWS_H

#include <stddef.h>

enum { INBOUND_FIELDS_MAX = 4 };

/* The rest of the request: for /tunnels/abc/x on https, from 192.0.2.7. */
static const struct inbound_row {
	const char *host;
	const char *fields[INBOUND_FIELDS_MAX][2]; /* sent by the caller */
	const char *seen[INBOUND_FIELDS_MAX][2];   /* received by the app; NULL: it is dropped */
} inbound_rows[] = {
	/* clang-format off */
	/* what passes */
	{"pub.example", {{"X-Mine", "1"}, {"Accept", "a, b"}, {"Via", "1.1 proxy"}, {"X-Request-Id", "7"}},
	 {{"x-mine", "1"}, {"accept", "a, b"}, {"via", "1.1 proxy"}, {"x-request-id", "7"}}},
	{"pub.example", {{"X-HTTP-Method-Override", "PUT"}, {"Authorization", "Bearer x"}, {"X-Forward", "1"}, {"X-Original", "2"}},
	 {{"x-http-method-override", "PUT"}, {"authorization", "Bearer x"}, {"x-forward", "1"}, {"x-original", "2"}}},
	{"pub.example", {{"X-Real-IPs", "1"}, {"Proxy-Status", "x"}, {"X-Scheme-Name", "2"}, {"X-Host-Name", "3"}},
	 {{"x-real-ips", "1"}, {"proxy-status", "x"}, {"x-scheme-name", "2"}, {"x-host-name", "3"}}},
	{"pub.example", {{"X-Requested-With", "XMLHttpRequest"}, {"X-Hub-Signature-256", "sha256=1"}, {"X-GitHub-Event", "push"}, {"Stripe-Signature", "t=1"}},
	 {{"x-requested-with", "XMLHttpRequest"}, {"x-hub-signature-256", "sha256=1"}, {"x-github-event", "push"}, {"stripe-signature", "t=1"}}},
	{"pub.example", {{"X-Original-Filename", "a"}, {"Upload-Offset", "1"}, {"Traceparent", "00-1"}, {"X-Correlation-Id", "2"}},
	 {{"x-original-filename", "a"}, {"upload-offset", "1"}, {"traceparent", "00-1"}, {"x-correlation-id", "2"}}},
	{"pub.example", {{"X-Notclient-IP", "1"}, {"Remote-User", "u"}, {"X-Server", "2"}, {"Origin", "https://pub.example"}},
	 {{"x-notclient-ip", "1"}, {"remote-user", "u"}, {"x-server", "2"}, {"origin", "https://pub.example"}}},
	/* forwarding headers are ours, in every spelling */
	{"pub.example", {{"X-Forward-For", "6.6.6.6"}, {"X-Forward-Proto", "http"}, {"X-Forwarder-For", "6.6.6.6"}, {"X-Proto", "http"}},
	 {{"x-forward-for", NULL}, {"x-forward-proto", NULL}, {"x-forwarder-for", NULL}, {"x-proto", NULL}}},
	{"pub.example", {{"X-TLS", "off"}, {"Https", "off"}, {"X-Server-Name", "evil"}, {"X-Real-Host", "evil"}},
	 {{"x-tls", NULL}, {"https", NULL}, {"x-server-name", NULL}, {"x-real-host", NULL}}},
	{"pub.example", {{"X-Proxy-Host", "evil"}, {"X-Base-Url", "/evil"}, {"X-Vercel-Forwarded-For", "6.6.6.6"}, {"X-Sucuri-ClientIP", "6.6.6.6"}},
	 {{"x-proxy-host", NULL}, {"x-base-url", NULL}, {"x-vercel-forwarded-for", NULL}, {"x-sucuri-clientip", NULL}}},
	{"pub.example", {{"X-Akamai-Client-IP", "6.6.6.6"}, {"Incap-Client-IP", "6.6.6.6"}, {"Ali_CDN_Real_IP", "6.6.6.6"}, {"Remote-Addr", "6.6.6.6"}},
	 {{"x-akamai-client-ip", NULL}, {"incap-client-ip", NULL}, {"ali_cdn_real_ip", NULL}, {"remote-addr", NULL}}},
	{"pub.example", {{"Remote-Host", "evil"}, {"X-Remote-Host", "evil"}, {"Server-Name", "evil"}, {"Server-Port", "1"}},
	 {{"remote-host", NULL}, {"x-remote-host", NULL}, {"server-name", NULL}, {"server-port", NULL}}},
	{"pub.example", {{"Request-Uri", "/evil"}, {"X-Waws-Unencoded-Url", "/evil"}, {"X-Http-DestinationURL", "/evil"}, {"X-Original-Query", "evil"}},
	 {{"request-uri", NULL}, {"x-waws-unencoded-url", NULL}, {"x-http-destinationurl", NULL}, {"x-original-query", NULL}}},
	{"pub.example", {{"X-Forwarded-For", "6.6.6.6"}, {"X-Forwarded-Host", "evil"}, {"X-Forwarded-Port", "1"}, {"Forwarded", "for=6.6.6.6"}},
	 {{"x-forwarded-for", "192.0.2.7"}, {"x-forwarded-host", "pub.example"}, {"x-forwarded-port", "443"},
	  {"forwarded", "for=192.0.2.7;host=pub.example;proto=https"}}},
	{"pub.example", {{"X_Forwarded_For", "6.6.6.6"}, {"X-Forwarded_Proto", "http"}, {"x_forwarded_prefix", "/evil"}, {"x_pipegate_correlation_id", "mine"}},
	 {{"x-forwarded-for", "192.0.2.7"}, {"x-forwarded-proto", "https"}, {"x-forwarded-prefix", "/tunnels/abc"}}},
	{"pub.example", {{"X-Forwarded-Ssl", "off"}, {"X-Forwarded-Scheme", "http"}, {"X-Forwarded-By", "me"}, {"X-Forwarded-Uri", "/evil"}},
	 {{"x-forwarded-ssl", NULL}, {"x-forwarded-scheme", NULL}, {"x-forwarded-by", NULL}, {"x-forwarded-uri", NULL}}},
	{"pub.example", {{"X-Forwarded", "for=1"}, {"Forwarded-For", "6.6.6.6"}, {"X-Forwarded-Anything", "1"}, {"X-Forwarded-User", "root"}},
	 {{"x-forwarded", NULL}, {"forwarded-for", NULL}, {"x-forwarded-anything", NULL}, {"x-forwarded-user", NULL}}},
	{"pub.example", {{"X-Real-IP", "6.6.6.6"}, {"X_Real_IP", "6.6.6.6"}, {"X-Client-IP", "6.6.6.6"}, {"Client-IP", "6.6.6.6"}},
	 {{"x-real-ip", NULL}, {"x_real_ip", NULL}, {"x-client-ip", NULL}, {"client-ip", NULL}}},
	{"pub.example", {{"True-Client-IP", "6.6.6.6"}, {"CF-Connecting-IP", "6.6.6.6"}, {"X-Cluster-Client-Ip", "6.6.6.6"}, {"X-ProxyUser-Ip", "6.6.6.6"}},
	 {{"true-client-ip", NULL}, {"cf-connecting-ip", NULL}, {"x-cluster-client-ip", NULL}, {"x-proxyuser-ip", NULL}}},
	{"pub.example", {{"Fastly-Client-Ip", "6.6.6.6"}, {"X-Envoy-External-Address", "6.6.6.6"}, {"X-Original-Forwarded-For", "6.6.6.6"}, {"X-Remote-Addr", "6.6.6.6"}},
	 {{"fastly-client-ip", NULL}, {"x-envoy-external-address", NULL}, {"x-original-forwarded-for", NULL}, {"x-remote-addr", NULL}}},
	{"pub.example", {{"X-Original-URL", "/evil"}, {"X-Rewrite-URL", "/evil"}, {"X_Original_URL", "/evil"}, {"X-Original-URI", "/evil"}},
	 {{"x-original-url", NULL}, {"x-rewrite-url", NULL}, {"x_original_url", NULL}, {"x-original-uri", NULL}}},
	{"pub.example", {{"X-Host", "evil"}, {"X-Original-Host", "evil"}, {"X-HTTP-Host-Override", "evil"}, {"Proxy", "evil"}},
	 {{"x-host", NULL}, {"x-original-host", NULL}, {"x-http-host-override", NULL}, {"proxy", NULL}}},
	{"pub.example", {{"Front-End-Https", "off"}, {"X-Url-Scheme", "http"}, {"X-Scheme", "http"}, {"X-Script-Name", "/evil"}},
	 {{"front-end-https", NULL}, {"x-url-scheme", NULL}, {"x-scheme", NULL}, {"x-script-name", NULL}}},
	{"pub.example", {{"SCRIPT_NAME", "/evil"}, {"Script-Name", "/evil"}, {"PATH_INFO", "/evil"}, {"X-Pipegate-Anything", "1"}},
	 {{"script-name", NULL}, {"script_name", NULL}, {"path_info", NULL}, {"x-pipegate-anything", NULL}}},
	/* hop-by-hop, and what Connection names */
	{"pub.example", {{"Connection", "x-hop, X_Under"}, {"X-Hop", "1"}, {"X-Under", "2"}, {"X-Far", "3"}},
	 {{"x-hop", NULL}, {"x-under", NULL}, {"x-far", "3"}, {"connection", NULL}}},
	{"pub.example", {{"Connection", "x-forwarded-for, forwarded, host"}, {"Keep-Alive", "5"}, {"TE", "trailers"}, {"Keep_Alive", "5"}},
	 {{"x-forwarded-for", "192.0.2.7"}, {"host", "pub.example"}, {"keep-alive", NULL}, {"te", NULL}}},
	/* hosts and ports */
	{"Pub.example:8443", {{0}},
	 {{"host", "Pub.example:8443"}, {"x-forwarded-host", "Pub.example:8443"}, {"x-forwarded-port", "8443"},
	  {"forwarded", "for=192.0.2.7;host=\"Pub.example:8443\";proto=https"}}},
	{"[2001:db8::1]", {{0}},
	 {{"x-forwarded-host", "[2001:db8::1]"}, {"x-forwarded-port", "443"}, {"forwarded", "for=192.0.2.7;host=\"[2001:db8::1]\";proto=https"}}},
	/* WebDAV */
	{"pub.example", {{"Destination", "https://pub.example/tunnels/abc/x%20y"}},
	 {{"destination", "https://pub.example/x%20y"}}},
	{"pub.example", {{"Destination", "http://PUB.example/tunnels/abc"}}, {{"destination", "https://pub.example/"}}},
	{"pub.example:8443", {{"Destination", "https://pub.example:8443/tunnels/abc/x?y"}},
	 {{"destination", "https://pub.example:8443/x?y"}}},
	{"pub.example", {{"Destination", "/tunnels/abc/x"}}, {{"destination", "/x"}}},
	{"pub.example", {{"Destination", "/tunnels/abc//evil.example/x"}}, {{"destination", "https://pub.example//evil.example/x"}}},
	{"pub.example", {{"Destination", "/tunnels/abc/\\evil.example/x"}}, {{"destination", "https://pub.example/\\evil.example/x"}}},
	{"pub.example", {{"Destination", "https://pub.example/tunnels/abc//x"}}, {{"destination", "https://pub.example//x"}}},
	{"pub.example", {{"If", "</tunnels/abc//evil.example/x> ([\"e\"])"}}, {{"if", "<https://pub.example//evil.example/x> ([\"e\"])"}}},
	{"pub.example", {{"Destination", "https://pub.example/tunnels/abcd/x"}}, {{"destination", "https://pub.example/tunnels/abcd/x"}}},
	{"pub.example", {{"Destination", "https://pub.example/tunnels/abc/../x"}}, {{"destination", "https://pub.example/tunnels/abc/../x"}}},
	{"pub.example", {{"Destination", "https://pub.example/tunnels/abc/%2e%2e%2fx"}},
	 {{"destination", "https://pub.example/tunnels/abc/%2e%2e%2fx"}}},
	{"pub.example", {{"Destination", "https://evil.example/tunnels/abc/x"}}, {{"destination", "https://evil.example/tunnels/abc/x"}}},
	{"pub.example", {{"Destination", "https://u@pub.example/tunnels/abc/x"}}, {{"destination", "https://u@pub.example/tunnels/abc/x"}}},
	{"pub.example", {{"If", "<https://pub.example/tunnels/abc/x> (<urn:uuid:7> [\"e\"]) </tunnels/abc/y> (Not <https://pub.example/tunnels/abc/z>)"}},
	 {{"if", "<https://pub.example/x> (<urn:uuid:7> [\"e\"]) </y> (Not <https://pub.example/tunnels/abc/z>)"}}},
	{"pub.example", {{"If", "(<urn:uuid:7> [\"(<\"]) (\"unended"}}, {{"if", "(<urn:uuid:7> [\"(<\"]) (\"unended"}}},
	/* clang-format on */
};

#endif
