#include "process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/ensure.h"

static uint64_t thread_cpu_ns(const char *tasks, const char *thread)
{
	char path[320];
	uint64_t ns = 0;
	(void)snprintf(path, sizeof(path), "%s/%s/schedstat", tasks, thread);
	FILE *file = fopen(path, "re");
	if (!file) return 0; /* the thread has ended */
	if (fscanf(file, "%" SCNu64, &ns) != 1) ns = 0;
	(void)fclose(file);
	return ns;
}

kms_status process_cpu_ns(uint64_t *ns, int pid)
{
	char tasks[48];
	*ns = 0;
	(void)snprintf(tasks, sizeof(tasks), "/proc/%d/task", pid);
	DIR *dir = opendir(tasks);
	ENSURE(dir, KMS_ERR_SYSTEM);
	for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		if (entry->d_name[0] != '.') *ns += thread_cpu_ns(tasks, entry->d_name);
	}
	(void)closedir(dir);
	return *ns ? KMS_OK : KMS_ERR_SYSTEM;
}
