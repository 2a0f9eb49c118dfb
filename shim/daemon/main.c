/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/xvshimd.h"

int main(int argc, char **argv)
{
	return xvshimd_main(argc, argv);
}
