/* broker/keyring.c - see keyring.h. */
#include "broker/keyring.h"

#include "broker/jwk.h"
#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct keyring {
	struct key *keys[KEYRING_KEYS_MAX];
	size_t count;
	const char *path; /* of the file that is being read */
};

static bool add(void *ctx, struct key *k)
{
	struct keyring *r = ctx;

	if (r->count == KEYRING_KEYS_MAX) {
		key_free(&k);
		return false;
	}
	r->keys[r->count++] = k;
	return true;
}

static void on_skipped(void *ctx, const char *id, const char *why)
{
	const struct keyring *r = ctx;
	char shown[4 * KEY_ID_MAX_BYTES];

	log_quote(shown, sizeof shown, id, strlen(id));
	log_info("keys.skipped file=%s kid=\"%s\" reason=\"%s\"", r->path, shown, why);
}

/* --- files --- */

static void say(char *fault, size_t fault_bytes, const char *path, const char *why)
{
	snprintf(fault, fault_bytes, "%s: %s", path, why);
}

/* Returns the content, with a NUL behind it; the caller cleanses and frees it. NULL: `fault` has
 * the reason. A fifo or a device is refused: it may have no end. */
static char *read_file(const char *path, size_t *bytes, char *fault, size_t fault_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status = {0};
	const char *why = NULL;
	char *text = NULL;

	*bytes = 0;
	if (fd < 0 || fstat(fd, &status) != 0)
		why = strerror(errno);
	else if (!S_ISREG(status.st_mode))
		why = "not a file";
	else if (status.st_size > KEYRING_FILE_MAX_BYTES)
		why = "larger than 1 MiB";
	if (why == NULL) {
		text = xcalloc(1, (size_t)status.st_size + 1);
		ssize_t got = read(fd, text, (size_t)status.st_size);
		*bytes = got > 0 ? (size_t)got : 0;
		why = got < 0 ? strerror(errno) : NULL;
	}
	if (fd >= 0)
		close(fd);
	if (why == NULL)
		return text;
	say(fault, fault_bytes, path, why);
	free(text);
	return NULL;
}

static bool ends_in(const char *name, const char *end)
{
	size_t bytes = strlen(name), end_bytes = strlen(end);

	return bytes > end_bytes && strcmp(name + bytes - end_bytes, end) == 0;
}

/* Returns the name of the file without its directory and ".pem". False: it is too long for a
 * kid. */
static bool kid_of(const char *path, char kid[KEY_ID_MAX_BYTES + 1])
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t bytes = strlen(name) - (ends_in(name, ".pem") ? 4 : 0);

	if (bytes > KEY_ID_MAX_BYTES)
		return false;
	memcpy(kid, name, bytes);
	kid[bytes] = '\0';
	return true;
}

static struct key *read_pem(const char *path, const char *text, size_t bytes, char *fault,
			    size_t fault_bytes)
{
	char kid[KEY_ID_MAX_BYTES + 1];
	const char *why = "the name of the file is too long for a kid";
	struct key *k = kid_of(path, kid) ? key_of_pem(text, bytes, kid, &why) : NULL;

	if (k == NULL)
		say(fault, fault_bytes, path, why);
	return k;
}

static bool read_keys(struct keyring *r, const char *text, size_t bytes, char *fault,
		      size_t fault_bytes)
{
	const struct jwk_reader reader = {.take = add, .skipped = on_skipped, .ctx = r};
	const char *begin = text + strspn(text, " \t\r\n");
	char why[200];

	if (*begin == '{') {
		if (jwk_read(text, bytes, &reader, why, sizeof why))
			return true;
		say(fault, fault_bytes, r->path, why);
		return false;
	}
	struct key *k = read_pem(r->path, text, bytes, fault, fault_bytes);
	if (k == NULL)
		return false;
	if (add(r, k))
		return true;
	say(fault, fault_bytes, r->path, "too many keys");
	return false;
}

static bool add_file(struct keyring *r, const char *path, char *fault, size_t fault_bytes)
{
	size_t bytes;
	char *text = read_file(path, &bytes, fault, fault_bytes);

	if (text == NULL)
		return false;
	r->path = path;
	bool good = read_keys(r, text, bytes, fault, fault_bytes);
	OPENSSL_cleanse(text, bytes);
	free(text);
	return good;
}

static int is_key_file(const struct dirent *entry)
{
	const char *name = entry->d_name;

	return *name != '.' &&
	       (ends_in(name, ".pem") || ends_in(name, ".json") || ends_in(name, ".jwks"));
}

/* Adds the files in the order of their names. */
static bool add_directory(struct keyring *r, const char *path, char *fault, size_t fault_bytes)
{
	struct dirent **entries = NULL;
	int count = scandir(path, &entries, is_key_file, alphasort);
	bool good = count >= 0;

	if (count < 0)
		say(fault, fault_bytes, path, strerror(errno));
	for (int i = 0; i < count; i++) {
		char *file = NULL;
		if (asprintf(&file, "%s/%s", path, entries[i]->d_name) < 0)
			out_of_memory();
		good = good && add_file(r, file, fault, fault_bytes);
		free(file);
		free(entries[i]);
	}
	free(entries);
	return good;
}

static bool add_path(struct keyring *r, const char *path, char *fault, size_t fault_bytes)
{
	struct stat status;

	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return add_directory(r, path, fault, fault_bytes);
	return add_file(r, path, fault, fault_bytes);
}

/* --- the ring --- */

/* True if there is a key for one of the allowed algorithms. */
static bool can_check(const struct keyring *r, const struct config *c)
{
	size_t at;

	for (size_t i = 0; i < c->jwt_algorithm_count; i++) {
		at = 0;
		if (keyring_next(r, c->jwt_algorithms[i], "", &at) != NULL)
			return true;
	}
	return false;
}

struct keyring *keyring_load(const struct config *c, char *fault, size_t fault_bytes)
{
	struct keyring *r = xcalloc(1, sizeof *r);
	bool good = true;

	if (c->jwt_secret != NULL && *c->jwt_secret != '\0')
		(void)add(r, key_of_secret(c->jwt_secret, strlen(c->jwt_secret), ""));
	if (c->jwt_keys != NULL)
		good = add_path(r, c->jwt_keys, fault, fault_bytes);
	if (good && r->count > 0 && !can_check(r, c)) {
		say(fault, fault_bytes, c->jwt_keys ? c->jwt_keys : "PIPEGATE_JWT_SECRET",
		    "no key for an algorithm of PIPEGATE_JWT_ALGORITHMS");
		good = false;
	}
	if (good && r->count == 0) {
		say(fault, fault_bytes, c->jwt_keys ? c->jwt_keys : "PIPEGATE_JWT_SECRET",
		    "no key");
		good = false;
	}
	if (!good)
		keyring_free(&r);
	return r;
}

void keyring_free(struct keyring **rp)
{
	struct keyring *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->count; i++)
		key_free(&r->keys[i]);
	free(r);
}

size_t keyring_count(const struct keyring *r)
{
	return r->count;
}

const struct key *keyring_next(const struct keyring *r, enum key_algorithm a, const char *kid,
			       size_t *at)
{
	while (*at < r->count) {
		const struct key *k = r->keys[(*at)++];
		bool named = *kid != '\0' && *key_id(k) != '\0';
		if (key_serves(k, a) && (!named || strcmp(key_id(k), kid) == 0))
			return k;
	}
	return NULL;
}

struct key *keyring_load_signer(const char *path, char *fault, size_t fault_bytes)
{
	size_t bytes;
	char *text = read_file(path, &bytes, fault, fault_bytes);

	if (text == NULL)
		return NULL;
	struct key *k = read_pem(path, text, bytes, fault, fault_bytes);
	OPENSSL_cleanse(text, bytes);
	free(text);
	if (k != NULL && !key_can_sign(k)) {
		say(fault, fault_bytes, path, "a public key cannot sign");
		key_free(&k);
	}
	return k;
}
