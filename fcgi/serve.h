/* fcgi/serve.h - One public request, from its parameters to the last byte of its answer: the responder's
 * half of an exchange (PROTOCOL.md, "Gate"). */
#ifndef PIPEGATE_SERVE_H
#define PIPEGATE_SERVE_H

#include "fcgi/cgi.h"
#include "fcgi/mux.h"
#include "fcgi/share.h"

#include <stdint.h>

/* Serves the request that cgi_accept() took and ends it with cgi_finish() or cgi_cut(). Returns when
 * the exchange is over at the broker too. `max_body_bytes` 0: no limit. */
void serve(struct cgi *cgi, struct ask *ask, struct share *share, int64_t max_body_bytes);

#endif
