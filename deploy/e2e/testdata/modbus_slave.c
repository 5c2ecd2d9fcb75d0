/* A Modbus TCP slave by libmodbus, whose words are set one by one. It prints
 * its port and serves one master after another until it is killed. It is the
 * units that are its arguments, without any every unit. */
#include <arpa/inet.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const uint16_t words[] = {
	0x42f6, 0xe979,                 /*  0 float32 123.456 ABCD */
	0xe979, 0x42f6,                 /*  2 the same, CDAB */
	0xf642, 0x79e9,                 /*  4 the same, BADC */
	0x79e9, 0xf642,                 /*  6 the same, DCBA */
	0xf8a4, 0x32eb,                 /*  8 int32 -123456789 */
	0xee6b, 0x2800,                 /* 10 uint32 4000000000 */
	0xfb2e,                         /* 12 int16 -1234 */
	0xfb2e,                         /* 13 uint16 64302 */
	0x0020,                         /* 14 bit 5 set, all others not */
	0xc071, 0x1266, 0x6666, 0x6666, /* 15 float64 -273.15 ABCD */
	0x6666, 0x6666, 0x1266, 0xc071, /* 19 the same, CDAB */
};

/* The unit id stands behind the six bytes of transaction, protocol and length. */
static int addressed(const uint8_t *query, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (atoi(argv[i]) == query[6])
			return 1;
	return argc == 1;
}

int main(int argc, char **argv)
{
	modbus_t *ctx = modbus_new_tcp("127.0.0.1", 0);
	modbus_mapping_t *map = modbus_mapping_new(0, 0, 23, 2);
	struct sockaddr_in addr;
	socklen_t size = sizeof addr;
	uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
	int listener, n;

	if (ctx == NULL || map == NULL)
		return 1;
	memcpy(map->tab_registers, words, sizeof words);
	map->tab_input_registers[0] = 0x0102;
	map->tab_input_registers[1] = 0x0304;
	listener = modbus_tcp_listen(ctx, 4);
	if (listener < 0 || getsockname(listener, (struct sockaddr *)&addr, &size) != 0)
		return 1;
	printf("%d\n", ntohs(addr.sin_port));
	fflush(stdout);
	while (modbus_tcp_accept(ctx, &listener) >= 0) {
		while ((n = modbus_receive(ctx, query)) >= 0)
			if (n > 0 && addressed(query, argc, argv))
				modbus_reply(ctx, query, n, map);
		modbus_close(ctx);
	}
	return 1;
}
