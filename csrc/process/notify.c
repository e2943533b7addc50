#include "kms/process.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ensure.h"

/* Fills in the address; its length, 0 where it is none. */
static socklen_t address_from(struct sockaddr_un *address, kms_text name)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	/* A path keeps room for its NUL; an abstract name starts with NUL and has none at its end. */
	bool abstract = name.len > 1 && name.text[0] == '@';
	if (!abstract && (name.len < 2 || name.text[0] != '/')) return 0;
	if (name.len + !abstract > sizeof(address->sun_path)) return 0;
	memcpy(address->sun_path, name.text, name.len);
	if (abstract) address->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name.len + !abstract);
}

kms_status kms_process_notify(kms_text name, kms_text message)
{
	struct sockaddr_un address;
	ENSURE(name.text && message.text && message.len > 0, KMS_ERR_ARGUMENT);
	socklen_t len = address_from(&address, name);
	ENSURE(len > 0, KMS_ERR_RANGE);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ENSURE(fd >= 0, KMS_ERR_SYSTEM);
	ssize_t sent =
	    sendto(fd, message.text, message.len, MSG_NOSIGNAL, (const struct sockaddr *)&address, len);
	int error = sent < 0 ? errno : 0;
	(void)close(fd);
	errno = error;
	if (error == EAGAIN) return KMS_ERR_BUSY;
	return sent == (ssize_t)message.len ? KMS_OK : KMS_ERR_SYSTEM;
}
