// A chat behind the gateway of belfry: controllers in the place of a WebSocket gateway.
import 'reflect-metadata'
import { BadRequestException, Body, Controller, Header, Headers, HttpCode, Module, Post } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'

const push = (text: string) => ({ type: 'push', to: { topic: 'chat' }, data: text })
const user = (headers: Record<string, string>) => decodeURIComponent(headers['ce-uid'] ?? '')
const Commands = Header('Content-Type', 'application/vnd.belfry.commands+json')

@Controller()
class ChatController {
  private names = new Map<string, string>() // by session id

  @Post('session') @HttpCode(200) @Commands
  session(@Headers() headers: Record<string, string>) {
    if (headers['ce-type'] === 'belfry.session.closed') {
      this.names.delete(headers['ce-sid'])
      return { commands: [push(`${user(headers)} has left`)] }
    }
    this.names.set(headers['ce-sid'], user(headers))
    return { commands: [{ type: 'subscribe', topic: 'chat' }, push(`${user(headers)} is here`)] }
  }

  @Post('say') @HttpCode(200) @Commands
  say(@Headers() headers: Record<string, string>, @Body() message: { text?: string }) {
    if (!message?.text) throw new BadRequestException('say something') // the client gets this text
    return { commands: [push(`${user(headers)}: ${message.text}`)] }
  }

  @Post('who') @HttpCode(200)
  who() {
    return [...this.names.values()].sort()
  }
}

@Module({ controllers: [ChatController] })
class ChatModule {}

const app = await NestFactory.create(ChatModule)
await app.listen(process.env.PORT!, '127.0.0.1')
