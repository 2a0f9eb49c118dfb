/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the files of doctor. */
#ifndef XVS_TOOLS_DOCTOR_H
#define XVS_TOOLS_DOCTOR_H

#include "cmd.h"
#include "survey/survey.h"

enum status { FINE, WRONG, UNKNOWN };

struct doctor {
	const struct options *o;
	struct survey_machine m;
	struct survey_device *device;
	unsigned int nr_devices;
	json_object *findings, *daemon; /* daemon: its status; NULL: it does not run */
	char subject[64];
	unsigned int wrong;
};

/* The subject of the findings that follow. */
void about(struct doctor *dr, const char *subject);

/* mend: the command; NULL: nothing to do. */
void finding(struct doctor *dr, enum status status, const char *mend, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

void check_modules(struct doctor *dr);
void check_limits(struct doctor *dr);

#endif
