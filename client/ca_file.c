/* client/ca_file.c - see ca_file.h. */
#include "client/ca_file.h"

#include "common/check.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool holds_certificate(X509_STORE *store)
{
	const STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);

	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		if (X509_OBJECT_get_type(sk_X509_OBJECT_value(objects, i)) == X509_LU_X509)
			return true;
	}
	return false;
}

/* Loads the file as libcurl does, with OpenSSL. */
static const char *load(const char *path)
{
	X509_STORE *store = X509_STORE_new();
	const char *fault = NULL;

	CHECK(store != NULL);
	if (X509_STORE_load_file(store, path) != 1)
		fault = "holds no certificate, or an invalid one (PEM is required)";
	else if (!holds_certificate(store))
		fault = "holds no certificate";
	X509_STORE_free(store);
	ERR_clear_error();
	return fault;
}

const char *ca_file_fault(const char *path)
{
	struct stat info;

	if (stat(path, &info) != 0 || access(path, R_OK) != 0)
		return strerror(errno);
	/* A FIFO would be empty the next time, and could block now. */
	if (!S_ISREG(info.st_mode))
		return "is not a regular file";
	return load(path);
}
