package main

/*
#include <string.h>

// Fyne looks up the person's language while Go packages are being initialised, and complains on standard error about
// the locale C.UTF-8, which is that of most containers. Nothing written in Go runs earlier, so this does: to Go the
// locale's name ends before the dot, and it is C, which Fyne knows.
static char *cut[3];

__attribute__((constructor)) static void plain_locale(int argc, char **argv, char **envp) {
	static const char *const names[3] = {"LC_ALL=C.", "LC_MESSAGES=C.", "LANG=C."};
	(void)argc;
	(void)argv;
	for (; envp && *envp; envp++) {
		for (int i = 0; i < 3; i++) {
			size_t n = strlen(names[i]);
			if (strncmp(*envp, names[i], n) == 0) {
				cut[i] = *envp + n - 1;
				*cut[i] = '\0';
			}
		}
	}
}

// whole_locale gives the C library, which reads text input with it, the names back.
static void whole_locale(void) {
	for (int i = 0; i < 3; i++) {
		if (cut[i]) {
			*cut[i] = '.';
		}
	}
}
*/
import "C"

func init() { C.whole_locale() }
