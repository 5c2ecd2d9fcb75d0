/* A Modbus RTU slave by libmodbus on the serial line that it is given. It
 * answers as unit 5. */
#include <modbus.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	modbus_t *ctx;
	modbus_mapping_t *map;
	uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
	int n;

	if (argc != 2)
		return 2;
	ctx = modbus_new_rtu(argv[1], 115200, 'N', 8, 1);
	map = modbus_mapping_new(16, 16, 120, 4);
	if (ctx == NULL || map == NULL || modbus_set_slave(ctx, 5) != 0 || modbus_connect(ctx) != 0)
		return 1;
	map->tab_registers[0] = 0x42f6; /* float32 123.456 ABCD */
	map->tab_registers[1] = 0xe979;
	map->tab_registers[119] = 0xfb2e; /* int16 -1234 */
	map->tab_registers[20] = 0x9876; /* BCD */
	map->tab_registers[30] = 0x3132; /* "12.5" */
	map->tab_registers[31] = 0x2e35;
	map->tab_bits[3] = 1;
	map->tab_input_bits[15] = 1;
	map->tab_input_registers[3] = 0x8000;
	puts("ready");
	fflush(stdout);
	for (;;) {
		n = modbus_receive(ctx, query);
		if (n > 0)
			modbus_reply(ctx, query, n, map);
		else if (n < 0)
			modbus_flush(ctx);
	}
}
