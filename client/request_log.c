/* client/request_log.c - see request_log.h. */
#include "client/request_log.h"

#include "common/access_log.h"
#include "common/clock.h"
#include "common/http.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

/* A UUID becomes the 32 digits by which our programs name the same request. The server chooses the
 * id, so other characters become '_': none may forge a line of the log. */
static void copy_corr(char corr[REQUEST_LOG_CORR_BYTES], const char *text, size_t bytes)
{
	size_t used = 0;

	for (size_t i = 0; i < bytes && used < REQUEST_LOG_CORR_BYTES - 1; i++) {
		char c = text[i];
		bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
		if (c >= 'A' && c <= 'Z')
			corr[used++] = (char)(c + 'a' - 'A');
		else if (digit)
			corr[used++] = c;
		else if (c != '-')
			corr[used++] = '_';
	}
	if (used == 0)
		corr[used++] = '-';
	corr[used] = '\0';
}

void request_log_corr(const void *head, size_t head_bytes, char corr[REQUEST_LOG_CORR_BYTES])
{
	struct head_field f;

	if (head_find(head, head_bytes, "x-pipegate-correlation-id", &f))
		copy_corr(corr, f.value, f.value_bytes);
	else
		strcpy(corr, "-");
}

static const char *state_name(const struct request_log *l)
{
	if (l->over)
		return "OVER";
	if (l->head_ms != 0)
		return "RESPONDING";
	return l->connected_ms != 0 ? "WAITS_FOR_APP" : "CONNECTING";
}

static void log_state(const struct request_log *l)
{
	log_debug("request.state corr=%s to=%s", l->corr, state_name(l));
}

void request_log_begin(struct request_log *l, const char *connection_id, const void *head,
		       size_t head_bytes, const char *id)
{
	l->connection_id = connection_id;
	l->request = access_log_request_of(head, head_bytes);
	request_log_corr(head, head_bytes, l->corr);
	if (strcmp(l->corr, "-") == 0 && id != NULL)
		copy_corr(l->corr, id, strlen(id));
	l->started_ms = clock_now_ms();
	log_state(l);
}

void request_log_connected(struct request_log *l)
{
	l->connected_ms = clock_now_ms();
	log_state(l);
}

void request_log_head(struct request_log *l, const struct head *h)
{
	struct head_field f;
	long long status;

	l->head_ms = clock_now_ms();
	if (head_find(h->data, h->bytes, ":status", &f) &&
	    http_length_parse(f.value, f.value_bytes, &status) && status <= 999)
		l->status = (int)status;
	log_state(l);
}

int64_t request_log_app_ms(const struct request_log *l)
{
	return l->head_ms - l->started_ms;
}

void request_log_end(struct request_log *l, enum fail f, bool maybe_delivered)
{
	const struct access_log_line line = {
		.conn = l->connection_id,
		.corr = l->corr,
		.request = l->request,
		.status = l->status,
		.fail = f,
		.delivered = maybe_delivered ? "maybe" : "no",
		.up_bytes = l->up_bytes,
		.down_bytes = l->down_bytes,
		.numbers = {{"connect_ms",
			     l->connected_ms != 0 ? l->connected_ms - l->started_ms : -1},
			    {"head_ms", l->head_ms != 0 ? l->head_ms - l->started_ms : -1},
			    {"ms", clock_now_ms() - l->started_ms}},
	};

	if (l->started_ms == 0 || l->over)
		return;
	l->over = true;
	log_state(l);
	access_log_put(&line);
	free(l->request);
	l->request = NULL;
}

void request_log_dump(const struct request_log *l, uint32_t stream, size_t held_bytes)
{
	log_info("dump.request conn=%s corr=%s state=%s age_ms=%lld stream=%u up_bytes=%lld "
		 "down_bytes=%lld held_bytes=%zu",
		 l->connection_id != NULL ? l->connection_id : "-", l->corr, state_name(l),
		 (long long)(clock_now_ms() - l->started_ms), stream, (long long)l->up_bytes,
		 (long long)l->down_bytes, held_bytes);
}
