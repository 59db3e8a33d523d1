/* broker/ctl_table.c - see ctl_table.h. */
#include "broker/ctl_table.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { CELL_BYTES = 128 };

struct column {
	const char *title, *member;
	int width;
	/* Writes the cell of a value. */
	void (*write)(char out[CELL_BYTES], const json_t *value);
	bool to_the_right;
};

/* --- cells --- */

/* The broker quotes what came from peers, so all texts are printable ASCII but a jti. */
static void write_printable(char out[CELL_BYTES], const char *text)
{
	snprintf(out, CELL_BYTES, "%s", text && *text ? text : "-");
	for (char *at = out; *at != '\0'; at++) {
		if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f)
			*at = '?';
	}
}

static void write_text(char out[CELL_BYTES], const json_t *value)
{
	write_printable(out, json_string_value(value));
}

/* "pipegate-client/0.1.0" is "0.1.0". */
static void write_client(char out[CELL_BYTES], const json_t *value)
{
	static const char ours[] = "pipegate-client/";
	const char *text = json_string_value(value);

	if (text != NULL && strncmp(text, ours, sizeof ours - 1) == 0)
		text += sizeof ours - 1;
	write_printable(out, text);
}

static void write_number(char out[CELL_BYTES], const json_t *value)
{
	snprintf(out, CELL_BYTES, "%" PRId64, (int64_t)json_integer_value(value));
}

/* "12ms", "1.5s"; "-": not measured. */
static void write_round_trip(char out[CELL_BYTES], const json_t *value)
{
	int64_t ms = json_integer_value(value);

	if (ms <= 0)
		snprintf(out, CELL_BYTES, "-");
	else if (ms < 1000)
		snprintf(out, CELL_BYTES, "%" PRId64 "ms", ms);
	else
		snprintf(out, CELL_BYTES, "%.1fs", (double)ms / 1000);
}

/* The two largest units: "5s", "3m20s", "2h05m", "4d03h". */
static void write_age(char out[CELL_BYTES], const json_t *value)
{
	int64_t s = json_integer_value(value) / 1000;

	if (s < 0)
		s = 0;
	if (s < 60)
		snprintf(out, CELL_BYTES, "%" PRId64 "s", s);
	else if (s < 3600)
		snprintf(out, CELL_BYTES, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, CELL_BYTES, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(out, CELL_BYTES, "%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
}

/* "0", "512", "1.5K", "20M". */
static void write_bytes(char out[CELL_BYTES], const json_t *value)
{
	static const char units[] = "KMGTPE";
	double amount = (double)json_integer_value(value);
	int unit = -1;

	while (amount >= 1000 && unit < 5) {
		amount /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(out, CELL_BYTES, "%.0f", amount);
	else
		snprintf(out, CELL_BYTES, "%.*f%c", amount < 10 ? 1 : 0, amount, units[unit]);
}

/* --- rows --- */

static void print_cell(const char *text, const struct column *c, bool last)
{
	int bytes = (int)strlen(text), width = c->width;

	if (bytes > width)
		printf("%.*s..", width - 2, text);
	else if (last && !c->to_the_right)
		printf("%s", text);
	else
		printf("%*s", c->to_the_right ? width : -width, text);
	putchar(last ? '\n' : ' ');
}

static void print_table(const struct column *columns, size_t count, const json_t *rows)
{
	char cell[CELL_BYTES];

	for (size_t i = 0; i < count; i++)
		print_cell(columns[i].title, &columns[i], i + 1 == count);
	for (size_t row = 0; row < json_array_size(rows); row++) {
		for (size_t i = 0; i < count; i++) {
			const json_t *object = json_array_get(rows, row);
			columns[i].write(cell, json_object_get(object, columns[i].member));
			print_cell(cell, &columns[i], i + 1 == count);
		}
	}
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The widths and the spaces between them are 80. */
void ctl_table_tunnels(const json_t *body)
{
	static const struct column columns[] = {
		{"ID", "id", 19, write_text, false},
		{"CLIENT", "client", 8, write_client, false},
		{"ADDRESS", "address", 15, write_text, false},
		{"AGE", "age_ms", 6, write_age, true},
		{"RTT", "rtt_ms", 5, write_round_trip, true},
		{"RUN", "running", 4, write_number, true},
		{"WAIT", "queued_of_id", 4, write_number, true},
		{"IN", "in_bytes", 5, write_bytes, true},
		{"OUT", "out_bytes", 5, write_bytes, true},
	};
	const json_t *tunnels = json_object_get(body, "tunnels");

	print_table(columns, COUNT(columns), tunnels);
	printf("%zu tunnels\n", json_array_size(tunnels));
}

static void print_pair(const json_t *body, const char *title, const char *member,
		       void (*write)(char out[CELL_BYTES], const json_t *value))
{
	char cell[CELL_BYTES];

	write(cell, json_object_get(body, member));
	printf("%-12s %s\n", title, cell);
}

static void print_tunnel(const json_t *tunnel)
{
	putchar('\n');
	print_pair(tunnel, "tunnel", "tunnel", write_number);
	print_pair(tunnel, "state", "state", write_text);
	print_pair(tunnel, "protocol", "protocol", write_text);
	print_pair(tunnel, "client", "client", write_text);
	print_pair(tunnel, "address", "address", write_text);
	print_pair(tunnel, "token sub", "sub", write_text);
	print_pair(tunnel, "token jti", "jti", write_text);
	print_pair(tunnel, "expires in", "expires_in_ms", write_age);
	print_pair(tunnel, "age", "age_ms", write_age);
	print_pair(tunnel, "round trip", "rtt_ms", write_round_trip);
	print_pair(tunnel, "requests", "requests", write_number);
	print_pair(tunnel, "running", "running", write_number);
	print_pair(tunnel, "at most", "max_running", write_number);
	print_pair(tunnel, "WebSockets", "websockets", write_number);
	print_pair(tunnel, "received", "in_bytes", write_bytes);
	print_pair(tunnel, "sent", "out_bytes", write_bytes);
}

void ctl_table_id(const json_t *body)
{
	static const struct column columns[] = {
		{"CORRELATION ID", "corr", 32, write_text, false},
		{"STATE", "state", 10, write_text, false},
		{"TUNNEL", "tunnel", 8, write_number, true},
		{"AGE", "age_ms", 6, write_age, true},
		{"UP", "up_bytes", 5, write_bytes, true},
		{"DOWN", "down_bytes", 5, write_bytes, true},
	};
	const json_t *tunnels = json_object_get(body, "tunnels");
	const json_t *exchanges = json_object_get(body, "exchanges");

	print_pair(body, "id", "id", write_text);
	print_pair(body, "waiting", "queued", write_number);
	print_pair(body, "WebSockets", "websockets", write_number);
	print_pair(body, "bytes held", "held_bytes", write_bytes);
	for (size_t i = 0; i < json_array_size(tunnels); i++)
		print_tunnel(json_array_get(tunnels, i));
	if (json_array_size(tunnels) == 0)
		puts("\nno tunnel");
	if (json_array_size(exchanges) == 0)
		return;
	putchar('\n');
	print_table(columns, COUNT(columns), exchanges);
}
