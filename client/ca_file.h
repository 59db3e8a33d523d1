/* client/ca_file.h - Checks a file of CA certificates at start: libcurl reads it only when it
 * connects, and would fail each time. The client includes OpenSSL's X.509 headers only in
 * ca_file.c. */
#ifndef PIPEGATE_CA_FILE_H
#define PIPEGATE_CA_FILE_H

/* Returns why the file cannot be used, as words that follow a name. NULL: it can. */
const char *ca_file_fault(const char *path);

#endif
