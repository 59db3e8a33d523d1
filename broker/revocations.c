/* broker/revocations.c - see revocations.h.
 *
 * The file: {"jti":["..."],"sub":{"ID":BEFORE_S},"issued_before":BEFORE_S} */
#include "broker/revocations.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <uthash.h>

/* One name. */
struct entry {
	UT_hash_handle hh;
	int64_t before_s; /* of a subject */
	char name[];
};

struct revocations {
	struct entry *tokens, *subjects; /* by name */
	int64_t issued_before_s;
	/* Of the file, and of the one that replaces it; NULL: the list is not kept. */
	char *path, *new_path;
	int directory, lock; /* descriptors; -1: none */
};

static void say(char *fault, size_t fault_bytes, const char *path, const char *why)
{
	snprintf(fault, fault_bytes, "%s: %s", path, why);
}

static struct entry *find(struct entry *list, const char *name)
{
	struct entry *e;

	HASH_FIND_STR(list, name, e);
	return e;
}

static struct entry *get(struct entry **list, const char *name)
{
	struct entry *e = find(*list, name);
	size_t bytes = strlen(name);

	if (e != NULL)
		return e;
	e = xcalloc(1, sizeof *e + bytes + 1);
	memcpy(e->name, name, bytes);
	HASH_ADD(hh, *list, name, bytes, e);
	return e;
}

static void clear(struct entry **list)
{
	struct entry *e, *next;

	HASH_ITER (hh, *list, e, next) {
		HASH_DEL(*list, e);
		free(e);
	}
}

bool revocations_have(const struct revocations *r, const char *subject, const char *jti,
		      int64_t issued_s)
{
	if (r == NULL)
		return false;
	const struct entry *e = find(r->subjects, subject);
	return issued_s < r->issued_before_s || (e != NULL && issued_s < e->before_s) ||
	       (*jti != '\0' && find(r->tokens, jti) != NULL);
}

size_t revocations_count(const struct revocations *r)
{
	return HASH_COUNT(r->tokens) + HASH_COUNT(r->subjects) + (r->issued_before_s > 0);
}

bool revocations_are_kept(const struct revocations *r)
{
	return r->path != NULL;
}

/* --- the file --- */

static json_t *as_json(const struct revocations *r)
{
	json_t *tokens = json_array(), *subjects = json_object();
	const struct entry *e;

	for (e = r->tokens; e != NULL; e = e->hh.next)
		CHECK(json_array_append_new(tokens, json_string(e->name)) == 0);
	for (e = r->subjects; e != NULL; e = e->hh.next)
		CHECK(json_object_set_new(subjects, e->name, json_integer(e->before_s)) == 0);
	return json_pack("{s:o, s:o, s:I}", "jti", tokens, "sub", subjects, "issued_before",
			 (json_int_t)r->issued_before_s);
}

/* Writes the new file. False: errno says why not. */
static bool write_new(const struct revocations *r, const json_t *list)
{
	int fd = open(r->new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return false;
	bool good = json_dumpfd(list, fd, JSON_INDENT(1)) == 0 && write(fd, "\n", 1) == 1 &&
		    fsync(fd) == 0;
	int saved = errno;
	good = close(fd) == 0 && good;
	errno = saved;
	return good;
}

static bool save(const struct revocations *r, char *fault, size_t fault_bytes)
{
	if (r->path == NULL)
		return true;
	json_t *list = as_json(r);
	CHECK(list != NULL);
	bool good =
		write_new(r, list) && rename(r->new_path, r->path) == 0 && fsync(r->directory) == 0;
	if (!good) {
		say(fault, fault_bytes, r->path, strerror(errno));
		(void)unlink(r->new_path);
	}
	json_decref(list);
	return good;
}

static bool name_fits(const char *name, size_t bytes)
{
	return bytes > 0 && bytes <= REVOCATIONS_NAME_MAX_BYTES && strlen(name) == bytes;
}

/* Takes the list over from the file. False: the file is broken. */
static bool read_list(struct revocations *r, const json_t *list)
{
	const json_t *tokens = json_object_get(list, "jti"), *value;
	const json_t *before = json_object_get(list, "issued_before");
	json_t *subjects = json_object_get(list, "sub");
	const char *name;

	if (!json_is_array(tokens) || !json_is_object(subjects) || !json_is_integer(before) ||
	    json_array_size(tokens) + json_object_size(subjects) > REVOCATIONS_MAX)
		return false;
	for (size_t i = 0; i < json_array_size(tokens); i++) {
		value = json_array_get(tokens, i);
		if (!json_is_string(value) ||
		    !name_fits(json_string_value(value), json_string_length(value)))
			return false;
		(void)get(&r->tokens, json_string_value(value));
	}
	json_object_foreach (subjects, name, value) {
		if (!json_is_integer(value) || !name_fits(name, strlen(name)))
			return false;
		get(&r->subjects, name)->before_s = json_integer_value(value);
	}
	r->issued_before_s = json_integer_value(before);
	return true;
}

/* A missing file is an empty list. */
static bool read_file(struct revocations *r, char *fault, size_t fault_bytes)
{
	FILE *in = fopen(r->path, "re");
	json_error_t error;
	char why[JSON_ERROR_TEXT_LENGTH + 40];

	if (in == NULL) {
		if (errno == ENOENT)
			return true;
		say(fault, fault_bytes, r->path, strerror(errno));
		return false;
	}
	json_t *list = json_loadf(in, JSON_REJECT_DUPLICATES, &error);
	bool good = list != NULL && read_list(r, list);
	if (list == NULL)
		snprintf(why, sizeof why, "line %d: %s", error.line, error.text);
	else
		snprintf(why, sizeof why, "not a list of revocations");
	if (!good)
		say(fault, fault_bytes, r->path, why);
	json_decref(list);
	(void)fclose(in);
	return good;
}

/* Opens the directory and takes its lock. False: `fault` has the reason. */
static bool claim(struct revocations *r, const char *directory, char *fault, size_t fault_bytes)
{
	r->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->directory < 0) {
		say(fault, fault_bytes, directory, strerror(errno));
		return false;
	}
	r->lock = openat(r->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r->lock < 0) {
		say(fault, fault_bytes, directory, strerror(errno));
		return false;
	}
	if (flock(r->lock, LOCK_EX | LOCK_NB) != 0) {
		say(fault, fault_bytes, directory,
		    errno == EWOULDBLOCK ? "in use by another broker" : strerror(errno));
		return false;
	}
	if (asprintf(&r->path, "%s/revocations.json", directory) < 0 ||
	    asprintf(&r->new_path, "%s/revocations.new", directory) < 0)
		out_of_memory();
	return true;
}

struct revocations *revocations_load(const char *directory, char *fault, size_t fault_bytes)
{
	struct revocations *r = xcalloc(1, sizeof *r);

	r->directory = r->lock = -1;
	if (directory != NULL &&
	    (!claim(r, directory, fault, fault_bytes) || !read_file(r, fault, fault_bytes)))
		revocations_free(&r);
	return r;
}

void revocations_free(struct revocations **rp)
{
	struct revocations *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	clear(&r->tokens);
	clear(&r->subjects);
	if (r->lock >= 0)
		close(r->lock);
	if (r->directory >= 0)
		close(r->directory);
	free(r->path);
	free(r->new_path);
	free(r);
}

/* --- changes --- */

/* False: there is no room for this name. */
static bool has_room(const struct revocations *r, struct entry *list, const char *name, char *fault,
		     size_t fault_bytes)
{
	bool room = find(list, name) != NULL ||
		    HASH_COUNT(r->tokens) + HASH_COUNT(r->subjects) < REVOCATIONS_MAX;

	if (!room)
		snprintf(fault, fault_bytes,
			 "the list has %d names: revoke all tokens issued before a time instead",
			 REVOCATIONS_MAX);
	return room;
}

bool revocations_add_token(struct revocations *r, const char *jti, char *fault, size_t fault_bytes)
{
	if (!has_room(r, r->tokens, jti, fault, fault_bytes))
		return false;
	(void)get(&r->tokens, jti);
	return save(r, fault, fault_bytes);
}

bool revocations_add_subject(struct revocations *r, const char *subject, int64_t before_s,
			     char *fault, size_t fault_bytes)
{
	if (!has_room(r, r->subjects, subject, fault, fault_bytes))
		return false;
	struct entry *e = get(&r->subjects, subject);
	if (before_s > e->before_s)
		e->before_s = before_s;
	return save(r, fault, fault_bytes);
}

bool revocations_add_all(struct revocations *r, int64_t before_s, char *fault, size_t fault_bytes)
{
	struct entry *e, *next;

	if (before_s > r->issued_before_s)
		r->issued_before_s = before_s;
	/* What this covers need not be listed any more. */
	HASH_ITER (hh, r->subjects, e, next) {
		if (e->before_s > r->issued_before_s)
			continue;
		HASH_DEL(r->subjects, e);
		free(e);
	}
	return save(r, fault, fault_bytes);
}
