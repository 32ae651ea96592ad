print("codis-server")
