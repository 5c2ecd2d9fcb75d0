"""A Modbus ASCII slave by pymodbus on the serial line that it is given, or on a
free TCP port without one. It answers as unit 5."""
import asyncio
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server.async_io import ModbusSerialServer, ModbusTcpServer
from pymodbus.transaction import ModbusAsciiFramer

registers = [0] * 120
registers[0:2] = [0x42F6, 0xE979]  # float32 123.456 ABCD
registers[119] = 0xFB2E            # int16 -1234
coils = [False] * 16
coils[3] = True
unit = ModbusSlaveContext(
    hr=ModbusSequentialDataBlock(0, registers), co=ModbusSequentialDataBlock(0, coils), zero_mode=True)
context = ModbusServerContext(slaves={5: unit}, single=False)


async def main():
    if len(sys.argv) > 1:
        server = ModbusSerialServer(context, framer=ModbusAsciiFramer, port=sys.argv[1], baudrate=9600, timeout=1)
        await server.start()
        print("ready", flush=True)
        await server.serve_forever()
        return
    server = ModbusTcpServer(context, framer=ModbusAsciiFramer, address=("127.0.0.1", 0))
    serving = asyncio.ensure_future(server.serve_forever())
    await server.serving
    print(server.server.sockets[0].getsockname()[1], flush=True)
    await serving


asyncio.run(main())
